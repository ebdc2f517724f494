package cdc

import (
	"fmt"
	"os"
)

// RowStore stores rows temporarily: in memory up to a limit, beyond it in an unnamed temporary file.
type RowStore struct {
	dir      string
	limit    int
	memory   int
	file     *os.File
	fileSize int64
	scratch  []byte
}

// StoredRow refers to a row in the RowStore that it was put into. The zero value refers to a nil Row.
type StoredRow struct {
	row    Row
	offset int64
	size   int
}

// NewRowStore returns a RowStore that keeps up to limit bytes in memory (0 is no limit) and creates its file in dir (empty is
// the system's directory for temporary files).
func NewRowStore(dir string, limit int) *RowStore { return &RowStore{dir: dir, limit: limit} }

// Put stores a row.
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
		return StoredRow{}, fmt.Errorf("%w: write: %w; free disk space, the whole transaction has to fit", ErrSpill, err)
	}
	stored := StoredRow{offset: s.fileSize, size: len(s.scratch)}
	s.fileSize += int64(stored.size)
	if cap(s.scratch) > spillBlock {
		s.scratch = nil
	}
	return stored, nil
}

// Get returns a stored row.
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

// Close removes the temporary file. It may be called more than once.
func (s *RowStore) Close() error {
	file := s.file
	*s = RowStore{dir: s.dir, limit: s.limit}
	if file == nil {
		return nil
	}
	return closeUnnamed(file)
}
