"""Language models: trained here or imported, and read or changed at their residual stream."""
