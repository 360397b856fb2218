"""Where clouds come from: files of many kinds, arrays, folders."""
