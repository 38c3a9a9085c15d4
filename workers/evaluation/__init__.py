"""How well a face model version tells people apart, measured on labelled pictures: `rekollect evaluate`."""
