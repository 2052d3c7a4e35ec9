"""The commands of `uicps-agent`, a module for each family.

Each module has `add_to(commands)`, which declares its arguments beside the code that uses them, and sets
`command`: a function of the parsed arguments that returns the exit code. Results go to standard output,
everything else to standard error.
"""
