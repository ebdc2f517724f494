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
	// spillParts bounds what reading one part back takes to a sixty-fourth of the transaction.
	spillParts = 64
	// spillBlock is the size of each part's write buffer, and of its read buffer in a merge.
	spillBlock = 16 << 10
)

// spillFile keeps a record stream for each part in one temporary file, as chains of blocks. The file has no name: it
// is gone when it is closed, or when the process ends, whatever ends it.
type spillFile struct {
	file   *os.File
	size   int64
	chains [spillParts]chain
}

type chain struct {
	buffer []byte
	blocks []block
}

type block struct {
	at   int64
	size int
}

func newSpillFile(dir string) (*spillFile, error) {
	file, err := os.CreateTemp(dir, "iam-relay-spill-*")
	if err != nil {
		return nil, fmt.Errorf("%w: make it: %w; the directory must exist and be writable", ErrSpill, err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, fmt.Errorf("%w: unlink it: %w", ErrSpill, err)
	}
	return &spillFile{file: file}, nil
}

func (f *spillFile) write(part int, record []byte) error {
	c := &f.chains[part]
	if c.buffer == nil {
		c.buffer = make([]byte, 0, spillBlock+spillBlock/4)
	}
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

// next returns a record, or io.EOF after the last.
func (r *recordReader) next() (string, error) {
	size, err := binary.ReadUvarint(r.input)
	if err == io.EOF { //nolint:errorlint // ReadUvarint documents the bare io.EOF for "nothing was read".
		return "", io.EOF
	}
	if err != nil {
		return "", fmt.Errorf("%w: read it: %w", ErrSpill, err)
	}
	if uint64(cap(r.scratch)) < size {
		r.scratch = make([]byte, size)
	}
	r.scratch = r.scratch[:size]
	if _, err := io.ReadFull(r.input, r.scratch); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", fmt.Errorf("%w: read it: %w", ErrSpill, err)
	}
	return string(r.scratch), nil
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
