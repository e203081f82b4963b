"""What others do, as small functions written from the published algorithms, and adapters of other
libraries. Each file names its source; tests hold them to pcpt on random input."""
