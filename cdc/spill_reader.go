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

// records returns a reader of a run. Readers may share scratch if only one of them is used at a time.
func (f *spillFile) records(run []block, buffer int, scratch *[]byte) *recordReader {
	return &recordReader{input: bufio.NewReaderSize(&blockReader{file: f.file, blocks: run}, buffer), scratch: scratch}
}

type recordReader struct {
	input   *bufio.Reader
	scratch *[]byte
}

// ordinal returns the ordinal of the next record, or io.EOF after the last one. The record's text follows, see text.
func (r *recordReader) ordinal() (ordinal, error) {
	seq, err := binary.ReadUvarint(r.input)
	if err == io.EOF { //nolint:errorlint // ReadUvarint documents the bare io.EOF for "nothing was read".
		return ordinal{}, io.EOF
	}
	if err != nil {
		return ordinal{}, fmt.Errorf("%w: read: %w", ErrSpill, err)
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
	if size > spillBlock { // avoid a second copy
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
	return fmt.Errorf("%w: read: %w", ErrSpill, err)
}

// blockReader reads the blocks of a run as one stream.
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
	n, err := r.file.ReadAt(p[:min(len(p), b.size-r.offset)], b.offset+int64(r.offset))
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
