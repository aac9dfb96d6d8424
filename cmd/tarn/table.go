package main

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// table prints rows with aligned columns. Cells are plain text; colours are added by whole columns.
type table struct {
	head  []string
	right map[int]bool // columns of numbers
	gives []int        // columns of text that a narrow terminal may have cut; none where every character counts
	rows  [][]string
}

// giveMin is the width down to which a column is cut: less says nothing.
const giveMin = 10

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table; the last column is not padded. On a terminal lines are cut to its width, if that can be done.
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
	if s.terminal {
		width = t.fit(width, s.width())
	}
	s.WriteString(s.bold(t.line(t.head, width)) + "\n")
	for _, row := range t.rows {
		s.WriteString(t.line(row, width) + "\n")
	}
}

// fit makes the widest of the columns that may be cut narrower, again and again, until a line fits. One that can't be made to fit stays whole.
func (t *table) fit(whole []int, columns int) []int {
	width, line := slices.Clone(whole), 2*(len(whole)-1)
	for _, w := range width {
		line += w
	}
	for ; line > columns; line-- {
		widest := -1
		for _, i := range t.gives {
			if width[i] > max(giveMin, len(t.head[i])) && (widest < 0 || width[i] > width[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return whole
		}
		width[widest]--
	}
	return width
}

func (t *table) line(cells []string, width []int) string {
	var b strings.Builder
	for i, cell := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		cell = cut(cell, width[i])
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		if t.right[i] {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}
