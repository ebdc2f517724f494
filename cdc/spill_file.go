package cdc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// spillParts is the number of parts of a file. Reading one part back takes about 1/64 of the transaction; a part that is
	// still too large is split into as many parts again.
	spillParts = 64
	// spillBlock is the size of the write buffer of a part, and of the read buffer of a run in a merge, in bytes. With many
	// runs the read buffers are smaller, so that all of them together take at most spillBuffers, but at least minBuffer each.
	spillBlock   = 16 << 10
	spillBuffers = spillParts * spillBlock
	minBuffer    = 512
	// foldOverhead is what a change takes in the memory of a consumer that folds a part, beside its text, in bytes.
	foldOverhead = 400
)

// spillFile stores the records of each part in one unnamed temporary file, as lists of blocks.
type spillFile struct {
	dir   string
	file  *os.File
	level int // 0, or 1 for a file that was split off from another one
	size  int64
	parts [spillParts]spillPart
}

// spillPart consists of runs. The records of a run are in order; a record that precedes the last one starts a new run.
type spillPart struct {
	buffer []byte // of the last run
	runs   [][]block
	last   ordinal
	// records and size are the number and the bytes of the records.
	records int
	size    int64
}

type block struct {
	offset int64
	size   int
}

// unnamedFile creates a temporary file that the system removes when it is closed or the process ends in any way.
func unnamedFile(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "iam-relay-spill-*")
	if err != nil {
		return nil, fmt.Errorf("%w: create: %w; make sure that the directory exists and is writable", ErrSpill, err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: unlink: %w", ErrSpill, err), file.Close())
	}
	return file, nil
}

func closeUnnamed(file *os.File) error {
	if err := file.Close(); err != nil {
		return fmt.Errorf("%w: close: %w", ErrSpill, err)
	}
	return nil
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
		return fmt.Errorf("%w: write: %w; free disk space, the whole transaction has to fit", ErrSpill, err)
	}
	if len(c.runs) == 0 {
		c.runs = [][]block{nil}
	}
	run := &c.runs[len(c.runs)-1]
	*run = append(*run, block{offset: f.size, size: len(c.buffer)})
	f.size += int64(len(c.buffer))
	if c.buffer = c.buffer[:0]; cap(c.buffer) > 4*spillBlock {
		c.buffer = nil
	}
	return nil
}

// finish writes the buffers to the file and releases them.
func (f *spillFile) finish() error {
	for i := range f.parts {
		if err := f.flush(&f.parts[i]); err != nil {
			return err
		}
		f.parts[i].buffer = nil
	}
	return nil
}

// split writes the records of a part into a new file, as the parts of that.
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

// copyFrom writes the records of a run of another file.
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

// readSize estimates the memory that folding the part takes, in bytes.
func (c *spillPart) readSize() int64 { return c.size + foldOverhead*int64(c.records) }

func (f *spillFile) close() error { return closeUnnamed(f.file) }
