// Command benchpage makes reports of "tarn bench" a page for browsers, with plots. It is no part of tarn, since the plots need fonts that are
// larger than tarn is.
//
//	go run ./cmd/benchpage linux.json growth.json >page.html
package main
