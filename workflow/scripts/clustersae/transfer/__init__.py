"""Does similarity of layers predict what sharing an SAE costs?"""
