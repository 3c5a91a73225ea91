"""The version, for who asks below the package itself."""

__version__ = "0.1.0.dev0"
