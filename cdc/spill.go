package cdc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// spillParts is how many parts a file has. Reading one back takes about a sixty-fourth of the transaction; a part that
	// is still too large is split into as many again.
	spillParts = 64
	// spillBlock is the size of each part's write buffer, and of its read buffer in a merge.
	spillBlock = 16 << 10
	// spillRow is what a change takes in the memory of a reader that folds a part, beside its text.
	spillRow = 400
)

// spillFile keeps a record stream for each part in one temporary file, as chains of blocks. The file has no name: it
// is gone when it is closed, or when the process ends, whatever ends it.
type spillFile struct {
	dir    string
	file   *os.File
	level  int // 1 for what is split off from another file
	size   int64
	chains [spillParts]chain
}

type chain struct {
	buffer []byte
	blocks []block
	// count and size are of the records.
	count int
	size  int64
}

type block struct {
	at   int64
	size int
}

func newSpillFile(dir string, level int) (*spillFile, error) {
	file, err := os.CreateTemp(dir, "iam-relay-spill-*")
	if err != nil {
		return nil, fmt.Errorf("%w: make it: %w; the directory must exist and be writable", ErrSpill, err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, fmt.Errorf("%w: unlink it: %w", ErrSpill, err)
	}
	return &spillFile{dir: dir, file: file, level: level}, nil
}

func (f *spillFile) write(seq int, key Key, record []byte) error {
	c := &f.chains[partOf(key, f.level)]
	c.count++
	c.size += int64(len(record))
	if c.buffer == nil {
		c.buffer = make([]byte, 0, spillBlock+spillBlock/4)
	}
	c.buffer = binary.AppendUvarint(c.buffer, uint64(seq))
	c.buffer = binary.AppendUvarint(c.buffer, uint64(len(record)))
	c.buffer = append(c.buffer, record...)
	if len(c.buffer) < spillBlock {
		return nil
	}
	return f.flush(c)
}

func (f *spillFile) flush(c *chain) error {
	if len(c.buffer) == 0 {
		return nil
	}
	if _, err := f.file.WriteAt(c.buffer, f.size); err != nil {
		return fmt.Errorf("%w: write it: %w; it needs room for the whole transaction", ErrSpill, err)
	}
	c.blocks = append(c.blocks, block{at: f.size, size: len(c.buffer)})
	f.size += int64(len(c.buffer))
	if c.buffer = c.buffer[:0]; cap(c.buffer) > 4*spillBlock {
		c.buffer = nil
	}
	return nil
}

// finish writes what is buffered and lets go of the buffers.
func (f *spillFile) finish() error {
	for i := range f.chains {
		if err := f.flush(&f.chains[i]); err != nil {
			return err
		}
		f.chains[i].buffer = nil
	}
	return nil
}

// split writes a part once more, as the parts of a file of its own.
func (f *spillFile) split(part int, busy func() error) (_ *spillFile, err error) {
	fine, err := newSpillFile(f.dir, f.level+1)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, fine.close())
		}
	}()
	var record []byte
	for records := f.records(part); ; {
		seq, err := records.seq()
		if errors.Is(err, io.EOF) {
			return fine, fine.finish()
		}
		if err != nil {
			return nil, err
		}
		text, err := records.text()
		if err != nil {
			return nil, err
		}
		key, err := readKey(text)
		if err != nil {
			return nil, err
		}
		record = append(record[:0], text...)
		if err := busy(); err != nil {
			return nil, err
		}
		if err := fine.write(seq, key, record); err != nil {
			return nil, err
		}
	}
}

// weighs is about what folding a part may take.
func (c *chain) weighs() int64 { return c.size + spillRow*int64(c.count) }

func (f *spillFile) close() error {
	if err := f.file.Close(); err != nil {
		return fmt.Errorf("%w: close it: %w", ErrSpill, err)
	}
	return nil
}

// records reads a part from its beginning.
func (f *spillFile) records(part int) *recordReader {
	return &recordReader{input: bufio.NewReaderSize(&chainReader{file: f.file, blocks: f.chains[part].blocks}, spillBlock)}
}

type recordReader struct {
	input   *bufio.Reader
	scratch []byte
}

// seq returns the Seq of the next record, or io.EOF after the last. Its text comes next.
func (r *recordReader) seq() (int, error) {
	seq, err := binary.ReadUvarint(r.input)
	if err == io.EOF { //nolint:errorlint // ReadUvarint documents the bare io.EOF for "nothing was read".
		return 0, io.EOF
	}
	if err != nil {
		return 0, fmt.Errorf("%w: read it: %w", ErrSpill, err)
	}
	return int(seq), nil
}

func (r *recordReader) text() (string, error) {
	size, err := binary.ReadUvarint(r.input)
	if err != nil {
		return "", unfinished(err)
	}
	scratch := r.scratch
	if uint64(cap(scratch)) < size {
		scratch = make([]byte, size)
	}
	scratch = scratch[:size]
	if _, err := io.ReadFull(r.input, scratch); err != nil {
		return "", unfinished(err)
	}
	if size <= spillBlock { // there are many readers in a merge
		r.scratch = scratch
	}
	return string(scratch), nil
}

func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: read it: %w", ErrSpill, err)
}

// chainReader reads a part's blocks as one stream.
type chainReader struct {
	file   *os.File
	blocks []block
	offset int // in the first block
}

func (r *chainReader) Read(p []byte) (int, error) {
	if len(r.blocks) == 0 {
		return 0, io.EOF
	}
	b := r.blocks[0]
	n, err := r.file.ReadAt(p[:min(len(p), b.size-r.offset)], b.at+int64(r.offset))
	if r.offset += n; r.offset == b.size {
		r.blocks, r.offset = r.blocks[1:], 0
	}
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}
