"""Rating studies: people choose the odd face of triplets on web pages; plans, raters, answers, results."""
