package cdc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// spillParts is how many parts a file has. Reading one back takes about a sixty-fourth of the transaction; a part that
	// is still too large is split into as many again.
	spillParts = 64
	// spillBlock is the size of each part's write buffer, and of its read buffer in a merge; with more than that many runs,
	// each has a smaller buffer, so that all of them stay within spillBuffers, but not less than minBuffer.
	spillBlock   = 16 << 10
	spillBuffers = spillParts * spillBlock
	minBuffer    = 512
	// spillRow is what a change takes in the memory of a reader that folds a part, beside its text.
	foldOverhead = 400
)

// spillFile keeps a record stream for each part in one temporary file, as chains of blocks. The file has no name.
type spillFile struct {
	dir    string
	file   *os.File
	level  int // 1 for what is split off from another file
	size   int64
	parts [spillParts]spillPart
}

// chain is a part: runs of records, each of them in order. A record that comes before the last one begins a new run.
type spillPart struct {
	buffer []byte // of the last run
	runs   [][]block
	last   ordinal
	// count and size are of the records.
	records int
	size  int64
}

type block struct {
	at   int64
	size int
}

func newSpillFile(dir string, level int) (*spillFile, error) {
	file, err := unnamedFile(dir)
	if err != nil {
		return nil, err
	}
	return &spillFile{dir: dir, file: file, level: level}, nil
}

func (f *spillFile) write(at ordinal, key Key, record []byte) error {
	c := &f.parts[partOf(key, f.level)]
	if c.records > 0 && at.before(c.last) {
		if err := f.flush(c); err != nil {
			return err
		}
		c.runs = append(c.runs, nil)
	}
	c.last = at
	c.records++
	c.size += int64(len(record))
	if c.buffer == nil {
		c.buffer = make([]byte, 0, spillBlock+spillBlock/4)
	}
	c.buffer = binary.AppendUvarint(c.buffer, uint64(at.seq))
	c.buffer = binary.AppendUvarint(c.buffer, uint64(at.sub))
	c.buffer = binary.AppendUvarint(c.buffer, uint64(len(record)))
	c.buffer = append(c.buffer, record...)
	if len(c.buffer) < spillBlock {
		return nil
	}
	return f.flush(c)
}

func (f *spillFile) flush(c *spillPart) error {
	if len(c.buffer) == 0 {
		return nil
	}
	if _, err := f.file.WriteAt(c.buffer, f.size); err != nil {
		return fmt.Errorf("%w: write it: %w; it needs room for the whole transaction", ErrSpill, err)
	}
	if len(c.runs) == 0 {
		c.runs = [][]block{nil}
	}
	run := &c.runs[len(c.runs)-1]
	*run = append(*run, block{at: f.size, size: len(c.buffer)})
	f.size += int64(len(c.buffer))
	if c.buffer = c.buffer[:0]; cap(c.buffer) > 4*spillBlock {
		c.buffer = nil
	}
	return nil
}

// finish writes what is buffered and lets go of the buffers.
func (f *spillFile) finish() error {
	for i := range f.parts {
		if err := f.flush(&f.parts[i]); err != nil {
			return err
		}
		f.parts[i].buffer = nil
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
	for _, run := range f.parts[part].runs {
		if err := fine.copyFrom(f.records(run, spillBlock, new([]byte)), busy); err != nil {
			return nil, err
		}
	}
	return fine, fine.finish()
}

// take writes the records of another file's run.
func (f *spillFile) copyFrom(records *recordReader, busy func() error) error {
	var record []byte
	for {
		at, err := records.ordinal()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := records.text()
		if err != nil {
			return err
		}
		key, err := readKey(text)
		if err != nil {
			return err
		}
		record = append(record[:0], text...)
		if err := busy(); err != nil {
			return err
		}
		if err := f.write(at, key, record); err != nil {
			return err
		}
	}
}

// weighs is about what folding a part may take.
func (c *spillPart) readSize() int64 { return c.size + foldOverhead*int64(c.records) }

func (f *spillFile) close() error { return closeUnnamed(f.file) }

// records reads a run from its beginning. Readers of which only one is used at a time may share their scratch.
func (f *spillFile) records(run []block, buffer int, scratch *[]byte) *recordReader {
	return &recordReader{input: bufio.NewReaderSize(&blockReader{file: f.file, blocks: run}, buffer), scratch: scratch}
}

type recordReader struct {
	input   *bufio.Reader
	scratch *[]byte
}

// place returns the place of the next record, or io.EOF after the last. Its text comes next.
func (r *recordReader) ordinal() (ordinal, error) {
	seq, err := binary.ReadUvarint(r.input)
	if err == io.EOF { //nolint:errorlint // ReadUvarint documents the bare io.EOF for "nothing was read".
		return ordinal{}, io.EOF
	}
	if err != nil {
		return ordinal{}, fmt.Errorf("%w: read it: %w", ErrSpill, err)
	}
	sub, err := binary.ReadUvarint(r.input)
	if err != nil {
		return ordinal{}, readError(err)
	}
	return ordinal{int(seq), int(sub)}, nil
}

func (r *recordReader) text() (string, error) {
	size, err := binary.ReadUvarint(r.input)
	if err != nil {
		return "", readError(err)
	}
	if size > spillBlock { // read it without a second copy
		var text strings.Builder
		text.Grow(int(size))
		if _, err := io.CopyN(&text, r.input, int64(size)); err != nil {
			return "", readError(err)
		}
		return text.String(), nil
	}
	scratch := *r.scratch
	if uint64(cap(scratch)) < size {
		scratch = make([]byte, size)
	}
	scratch = scratch[:size]
	if _, err := io.ReadFull(r.input, scratch); err != nil {
		return "", readError(err)
	}
	*r.scratch = scratch
	return string(scratch), nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: read it: %w", ErrSpill, err)
}

// chainReader reads a part's blocks as one stream.
type blockReader struct {
	file   *os.File
	blocks []block
	offset int // in the first block
}

func (r *blockReader) Read(p []byte) (int, error) {
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
