package ingest

// limits bounds what is in memory at a time. The events do not depend on them.
type limits struct {
	commitBytes  int // of events and mirror rows that are collected before they are written
	largeChunk   int // changes of a large transaction
	largeBytes   int // the same, in bytes
	pageRows     int // rows of a snapshot
	pageBytes    int // the same, in bytes
	releaseChunk int // delayed events that are released in one commit
}

var defaultLimits = limits{commitBytes: 4 << 20, largeChunk: 500, largeBytes: 2 << 20, pageRows: 1000, pageBytes: 2 << 20, releaseChunk: 500}
