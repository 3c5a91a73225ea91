"""What an updater keeps as one file, and back: a run goes on as if it had never stopped.

`files` is the container, in the safetensors format, and `replacing` puts it in its place. `contents` says what is in it, by the
`names` of weights and slots and as `data` that JSON holds; `described` says what is said of optimizers, `restoring` how it
comes back, and `background` writes while the run goes on.
"""
