package main

import (
	"strings"
	"unicode/utf8"
)

// table prints rows with aligned columns. Cells are plain text; colours are added by whole columns.
type table struct {
	head  []string
	right map[int]bool // columns of numbers
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table; the last column is not padded.
func (t *table) print(s *stream) {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	s.WriteString(s.bold(t.line(t.head, width)) + "\n")
	for _, row := range t.rows {
		s.WriteString(t.line(row, width) + "\n")
	}
}

func (t *table) line(cells []string, width []int) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		if t.right[i] {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}
