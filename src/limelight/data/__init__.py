"""Pictures from files, and scenes whose truth is known."""
