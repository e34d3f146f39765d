"""Pages of HTML that are whole in one file: of an evaluation, of a transcript."""
