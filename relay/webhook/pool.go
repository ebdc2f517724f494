package webhook

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"
)

// fingerprint is a hash of credentials.
type fingerprint [sha256.Size]byte

// pool holds at most one V per fingerprint, for as long as a Target uses it. Endpoints with the same credentials share a V, a
// redefined endpoint keeps it, and credentials that are no longer used are garbage-collected.
type pool[V any] struct {
	mu      sync.Mutex
	entries map[fingerprint]weak.Pointer[V]
}

// get returns the V of the fingerprint, calling build if there is none.
func (p *pool[V]) get(key fingerprint, build func() *V) *V {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.entries[key].Value(); v != nil {
		return v
	}
	v := build()
	entry := weak.Make(v)
	if p.entries == nil {
		p.entries = map[fingerprint]weak.Pointer[V]{}
	}
	p.entries[key] = entry
	runtime.AddCleanup(v, func(entry weak.Pointer[V]) { p.forget(key, entry) }, entry)
	return v
}

// forget removes the entry of a collected V, unless a new V has replaced it.
func (p *pool[V]) forget(key fingerprint, entry weak.Pointer[V]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries[key] == entry {
		delete(p.entries, key)
	}
}

// each calls f for every V in use.
func (p *pool[V]) each(f func(*V)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, entry := range p.entries {
		if v := entry.Value(); v != nil {
			f(v)
		}
	}
}
