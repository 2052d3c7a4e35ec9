"""Power quality indices after PRODIST module 8, computed from polled readings: indicative, never legal.

The constants are in `limits/*.toml`, dated; `limits_on` gives those of a day. Readings become 10-minute
intervals (`aggregate`), voltage events are watched for on the way (`watch`, `events`), and the indices are
functions of the intervals (`voltage`, `unbalance`, `harmonics`, `frequency`, `power`). `unseen` says what a
poll cannot see; every report repeats it.
"""
