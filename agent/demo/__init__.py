"""The demo site: simulated modules on real sockets, a broker for the centre. Never on a real box.

Only `broker` needs the extra packages of `pip install uicps-agent[demo]`.
"""
