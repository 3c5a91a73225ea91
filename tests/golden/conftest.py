collect_ignore = ["make.py"]  # a script, for machines that have the systems
