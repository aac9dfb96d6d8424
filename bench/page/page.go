package page

import (
	"fmt"
	"html/template"
	"io"

	"github.com/tarn-backup/tarn/bench"
)

// Write writes the page of a report.
func Write(out io.Writer, r *bench.Report) error {
	p := content{Report: r}
	for _, t := range r.Tables() {
		s := section{Table: t}
		if _, grown := t.Workload.GrowthOfFiles(); !grown {
			var err error
			if s.Plots, err = bars(r, &t); err != nil {
				return fmt.Errorf("plot %s: %w", t.Workload.Name, err)
			}
		}
		p.Sections = append(p.Sections, s)
	}
	var err error
	if p.Growth, err = lines(r); err != nil {
		return fmt.Errorf("plot growth: %w", err)
	}
	return page().Execute(out, &p)
}

type content struct {
	*bench.Report
	Sections []section
	Growth   []template.HTML
}

type section struct {
	bench.Table
	Plots []template.HTML
}

func page() *template.Template { return template.Must(template.New("page").Parse(pageText)) }

const pageText = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tarn, measured</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .1rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
svg { max-width: 100%; height: auto; }
svg text { font-family: "Liberation Sans", Arial, Helvetica, sans-serif !important; }
.failed { color: #a00; }
</style>
<h1>tarn, measured</h1>
<p>{{.Time.Format "2006-01-02 15:04"}} UTC; {{.Machine.Processor}}, {{.Machine.Processors}} processors; {{.Machine.Kernel}}, {{.Machine.FileSystem}}.
Medians of {{.Runs}} rounds in turn, in brackets the least and the most. Every program seals and compresses.{{with .Machine.Targets}} Each restore goes into {{.}}.{{end}}</p>
<table><tr><th>program</th><th>version</th><th>how</th></tr>
{{range .Tools}}<tr><td>{{.Name}}</td><td>{{.Version}}</td><td style="text-align: left">{{.About}}</td></tr>
{{end}}</table>
{{range .Sections}}<h2>{{.Workload.Name}}</h2>
<p>{{.Workload.About}}: {{.Workload.Files}} files, {{.Workload.Bytes}} bytes.</p>
{{range .Plots}}{{.}}{{end}}
<table><tr><th>step</th><th></th>{{range .Columns}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr><td>{{.Step}}</td><td>{{.What}}</td>{{range .Text}}<td>{{.}}</td>{{end}}</tr>
{{end}}</table>
{{range .Errors}}<p class="failed">failed: {{.}}</p>
{{end}}{{end}}
{{if .Growth}}<h2>Growth</h2>
{{range .Growth}}{{.}}{{end}}{{end}}
</html>
`
