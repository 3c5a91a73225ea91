collect_ignore = [
    "make.py",
    "make_groups.py",
    "make_schedules.py",
    "signatures.py",
]  # scripts, for machines that have the systems
