"""Public label files, each as it comes, and what they say of their films."""
