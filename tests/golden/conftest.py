collect_ignore = [
    "make.py",
    "make_groups.py",
    "make_schedules.py",
    "make_torch_states.py",
    "of_torch.py",
    "signatures.py",
]  # scripts, for machines that have the systems
