package policy

import "sync"

// Cache parses documents and remembers the results by kind and text. Refusals are not remembered, so that nobody can push
// good documents out with bad ones. Safe for concurrent use.
type Cache struct {
	limit int

	mu    sync.Mutex // guards the maps
	young map[cacheKey]*Document
	old   map[cacheKey]*Document
}

type cacheKey struct {
	kind Kind
	text string
}

// NewCache makes a cache that holds at least n and at most 2n of the documents used last.
func NewCache(n int) *Cache {
	return &Cache{limit: max(n, 1), young: map[cacheKey]*Document{}, old: map[cacheKey]*Document{}}
}

// Parse is policy.Parse with the cache.
func (c *Cache) Parse(kind Kind, text string) (*Document, error) {
	k := cacheKey{kind, text}
	c.mu.Lock()
	doc, ok := c.young[k]
	if !ok {
		if doc, ok = c.old[k]; ok {
			c.put(k, doc)
		}
	}
	c.mu.Unlock()
	if ok {
		return doc, nil
	}
	doc, err := Parse(kind, text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.put(k, doc)
	c.mu.Unlock()
	return doc, nil
}

// put adds to the young generation; when it is full the old one is dropped.
func (c *Cache) put(k cacheKey, doc *Document) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[cacheKey]*Document, c.limit)
	}
	c.young[k] = doc
}
