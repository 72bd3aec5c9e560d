"""Studies in which people judge triplets of faces: what is asked, who answers, and what the answers say."""
