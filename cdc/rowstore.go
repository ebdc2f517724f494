package cdc

import (
	"errors"
	"fmt"
	"os"
)

// RowStore keeps rows for a while: in memory up to a limit, beyond it in a temporary file without a name.
type RowStore struct {
	dir     string
	limit   int
	memory   int
	file    *os.File
	fileSize    int64
	scratch []byte
}

// StoredRow finds a row in the RowStore that it was put into. The zero value is no row.
type StoredRow struct {
	row  Row
	offset   int64
	size int
}

// NewRowStore returns a RowStore that keeps up to limit bytes (0: all) in memory and puts its file into dir (empty: the
// system's directory for temporary files).
func NewRowStore(dir string, limit int) *RowStore { return &RowStore{dir: dir, limit: limit} }

// Put keeps a row.
func (s *RowStore) Put(row Row) (StoredRow, error) {
	size := (&Change{New: row}).Size()
	if s.limit == 0 || s.memory+size <= s.limit {
		s.memory += size
		return StoredRow{row: row}, nil
	}
	if s.file == nil {
		file, err := unnamedFile(s.dir)
		if err != nil {
			return StoredRow{}, err
		}
		s.file = file
	}
	s.scratch = appendRow(s.scratch[:0], row)
	if _, err := s.file.WriteAt(s.scratch, s.fileSize); err != nil {
		return StoredRow{}, fmt.Errorf("%w: write it: %w; it needs room for the whole transaction", ErrSpill, err)
	}
	stored := StoredRow{offset: s.fileSize, size: len(s.scratch)}
	s.fileSize += int64(stored.size)
	if cap(s.scratch) > spillBlock {
		s.scratch = nil
	}
	return stored, nil
}

// Get returns a row.
func (s *RowStore) Get(stored StoredRow) (Row, error) {
	if stored.size == 0 {
		return stored.row, nil
	}
	text := make([]byte, stored.size)
	if _, err := s.file.ReadAt(text, stored.offset); err != nil {
		return nil, readError(err)
	}
	r := changeReader{text: string(text), size: len(text)}
	row := r.row()
	if r.damaged || r.text != "" {
		return nil, errSpillFormat
	}
	return row, nil
}

// Close removes the temporary file. It may be called again.
func (s *RowStore) Close() error {
	file := s.file
	*s = RowStore{dir: s.dir, limit: s.limit}
	if file == nil {
		return nil
	}
	return closeUnnamed(file)
}

// unnamedFile makes a temporary file that is gone when it is closed, or when the process ends, whatever ends it.
func unnamedFile(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "iam-relay-spill-*")
	if err != nil {
		return nil, fmt.Errorf("%w: make it: %w; the directory must exist and be writable", ErrSpill, err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: unlink it: %w", ErrSpill, err), file.Close())
	}
	return file, nil
}

func closeUnnamed(file *os.File) error {
	if err := file.Close(); err != nil {
		return fmt.Errorf("%w: close it: %w", ErrSpill, err)
	}
	return nil
}
