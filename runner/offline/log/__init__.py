"""The format of an offline log: frames, records, what they say, copies, who still writes one."""
