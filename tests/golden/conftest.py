collect_ignore = ["make.py", "signatures.py"]  # scripts, for machines that have the systems
