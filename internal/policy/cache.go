package policy

import (
	"crypto/sha256"
	"sync"
)

// Cache parses documents and remembers the results, including refusals, by kind and hash of the text. Safe for concurrent
// use.
type Cache struct {
	limit int

	mu    sync.Mutex // guards the maps
	young map[cacheKey]cached
	old   map[cacheKey]cached
}

type cacheKey struct {
	kind Kind
	sum  [sha256.Size]byte
}

type cached struct {
	doc *Document
	err error
}

// NewCache makes a cache that holds at least n and at most 2n of the documents used last.
func NewCache(n int) *Cache {
	return &Cache{limit: max(n, 1), young: map[cacheKey]cached{}, old: map[cacheKey]cached{}}
}

// Parse is policy.Parse with the cache.
func (c *Cache) Parse(kind Kind, text string) (*Document, error) {
	k := cacheKey{kind, sha256.Sum256([]byte(text))}
	c.mu.Lock()
	v, ok := c.young[k]
	if !ok {
		if v, ok = c.old[k]; ok {
			c.put(k, v)
		}
	}
	c.mu.Unlock()
	if ok {
		return v.doc, v.err
	}
	v.doc, v.err = Parse(kind, text)
	c.mu.Lock()
	c.put(k, v)
	c.mu.Unlock()
	return v.doc, v.err
}

// put adds to the young generation; when it is full the old one is dropped.
func (c *Cache) put(k cacheKey, v cached) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[cacheKey]cached, c.limit)
	}
	c.young[k] = v
}
