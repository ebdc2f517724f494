package webhook

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"
)

// fingerprint is a hash of credentials.
type fingerprint [sha256.Size]byte

// shared holds at most one V for each fingerprint, for as long as somebody uses it: endpoints with the same credentials share
// it, a Target that replaces another goes on with it, and credentials that are renewed every day leave nothing behind.
type shared[V any] struct {
	mu      sync.Mutex
	entries map[fingerprint]weak.Pointer[V]
}

// get returns the V of the fingerprint, which build makes where there is none.
func (s *shared[V]) get(key fingerprint, build func() *V) *V {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.entries[key].Value(); v != nil {
		return v
	}
	v := build()
	entry := weak.Make(v)
	if s.entries == nil {
		s.entries = map[fingerprint]weak.Pointer[V]{}
	}
	s.entries[key] = entry
	runtime.AddCleanup(v, func(entry weak.Pointer[V]) { s.forget(key, entry) }, entry)
	return v
}

// forget drops the entry of a V that is gone, if no new one has taken its place.
func (s *shared[V]) forget(key fingerprint, entry weak.Pointer[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key] == entry {
		delete(s.entries, key)
	}
}

// each calls f for every V in use.
func (s *shared[V]) each(f func(*V)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entry := range s.entries {
		if v := entry.Value(); v != nil {
			f(v)
		}
	}
}
