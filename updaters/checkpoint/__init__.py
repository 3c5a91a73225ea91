"""What an updater keeps as one file, and back: a run goes on as if it had never stopped.

`files` is the container, in the safetensors format, and `replacing` puts it in its place; `contents` says what is in it,
`described` what is said of optimizers, and `restoring` how it comes back. `background` writes while the run goes on.
"""
