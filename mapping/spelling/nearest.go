// Package spelling finds the known word that a misspelt one probably stands for.
package spelling

// maxLength bounds the words that are compared, in bytes: the cost grows with the product of their lengths.
const maxLength = 256

// Nearest returns the known word that differs least from word, or "" if none is close, that is, if more than a third of
// the longer word would have to change. Of several that are equally close it returns the first.
func Nearest(word string, known []string) string {
	if len(word) > maxLength {
		return ""
	}
	best, bestDistance := "", -1
	for _, k := range known {
		if len(k) > maxLength {
			continue
		}
		d := distance(word, k)
		if d > max(len(word), len(k))/3 {
			continue
		}
		if bestDistance < 0 || d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, substituted)
		}
	}
	return row[len(b)]
}
