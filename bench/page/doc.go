// Package page makes a report of package bench a page for browsers: tables, and plots as SVG. The page is one file, has no scripts, and loads nothing.
//
// It is a package of its own since the plots need fonts, which are larger than all of tarn; the command that makes pages is apart from tarn, too.
package page
