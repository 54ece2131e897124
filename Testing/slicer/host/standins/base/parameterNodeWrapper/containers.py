"""Lists and dicts that write themselves back to the parameter node when they change."""

import collections.abc


class ObservedList(collections.abc.MutableSequence):
    """A list; `+` and `*` are refused, since their result would not be observed."""

    def __init__(self, parameterNode, listSerializer, name, startingValue):
        self._place = (parameterNode, name)
        self._serializer = listSerializer
        self._items = startingValue

    def _changed(self):
        try:
            self._serializer.write(*self._place, self._items)
        finally:  # a refused value is dropped, and a new inner list becomes an observed one
            self._items = self._serializer.read(*self._place)._items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]

    def __setitem__(self, index, item):
        self._items[index] = item
        self._changed()

    def __delitem__(self, index):
        del self._items[index]
        self._changed()

    def __eq__(self, other):
        return self._items == (other._items if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self):
        return f"ObservedList({self._items})"

    def _refuse(self, other):
        raise NotImplementedError("an observed list has no + and *; use += and *=, or list(...)")

    __add__ = __radd__ = __mul__ = __rmul__ = _refuse

    def __iadd__(self, other):
        self._items += list(other)
        self._changed()
        return self

    def __imul__(self, other):
        self._items *= other
        self._changed()
        return self

    def append(self, item):
        self.insert(len(self), item)

    def extend(self, other):
        self.__iadd__(other)

    def insert(self, index, item):
        self._items.insert(index, item)
        self._changed()

    def remove(self, item):
        del self[self._items.index(item)]

    def pop(self, i=-1):
        item = self[i]
        del self[i]
        return item

    def clear(self):
        self[:] = []

    def sort(self, *args, **kwargs):
        self[:] = sorted(self._items, *args, **kwargs)

    def reverse(self):
        self[:] = self._items[::-1]


class ObservedDict(collections.abc.MutableMapping):
    """A dict that keeps its order; `get` and `pop` take no default, as Slicer's do not."""

    def __init__(self, parameterNode, dictSerializer, name, startingValue):
        self._place = (parameterNode, name)
        self._serializer = dictSerializer
        self._items = startingValue

    def _changed(self):
        try:
            self._serializer.write(*self._place, self._items)
        finally:
            self._items = self._serializer.read(*self._place)._items

    def __len__(self):
        return len(self._items)

    def __iter__(self):
        return iter(self._items)

    def __contains__(self, key):
        return key in self._items

    def __getitem__(self, key):
        return self._items[key]

    def __setitem__(self, key, value):
        self._items[key] = value
        self._changed()

    def __delitem__(self, key):
        del self._items[key]
        self._changed()

    def __eq__(self, other):
        return self._items == (other._items if isinstance(other, ObservedDict) else other)

    __hash__ = None

    def __repr__(self):
        return f"ObservedDict({self._items})"

    def keys(self):
        return self._items.keys()

    def values(self):
        return self._items.values()

    def items(self):
        return self._items.items()

    def get(self, key):
        return self._items.get(key)

    def pop(self, key):
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        key = list(self._items)[-1]
        return key, self.pop(key)

    def clear(self):
        self._items.clear()
        self._changed()
