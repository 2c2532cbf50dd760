"""What an extension imports (``api``), where it can act (``hooks``), and how it is found and guarded (``loader``)."""
