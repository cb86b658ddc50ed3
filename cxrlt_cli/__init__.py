"""cxrlt: long-tailed and zero-shot classification of chest X-rays, from one command line."""

__version__ = "0.2.0.dev0"
