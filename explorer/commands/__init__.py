"""What the command line does besides opening the window. Each module holds one ``run(arguments) -> int``."""
