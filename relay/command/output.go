package command

import "io"

// checkedWriter remembers the first error of writing, which most printing ignores: a result that was cut short, by a full disk for
// instance, must not end in exit code 0.
type checkedWriter struct {
	to  io.Writer
	err error
}

func (w *checkedWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}
