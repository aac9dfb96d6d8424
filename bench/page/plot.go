package page

import (
	"bytes"
	"html/template"
	"image/color"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/tarn-backup/tarn/bench"
)

const (
	plotWidth  = 16 * vg.Centimeter
	plotHeight = 8 * vg.Centimeter
	mebibyte   = 1 << 20
)

// colors are those of the tools, in the order in which a plot names them: told apart also by who sees no red or no green.
func colors() []color.Color {
	return []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
		color.RGBA{86, 180, 233, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{120, 120, 120, 255}, color.RGBA{60, 60, 60, 255}}
}

// bars plots time, size and memory by tool.
func bars(r *bench.Report, t *bench.Table) (plots []template.HTML, err error) {
	for _, b := range []struct {
		title  string
		steps  []bench.Step
		metric bench.Metric
		factor float64
	}{
		{"time, in seconds", bench.Steps(), bench.Seconds, 1},
		{"repository, in MiB", []bench.Step{bench.First, bench.Changed, bench.Prune}, bench.Repository, 1.0 / mebibyte},
		{"peak memory, in MiB", []bench.Step{bench.First, bench.Unchanged, bench.Restore}, bench.Memory, 1.0 / mebibyte},
	} {
		svg, err := barPlot(r, t, b.title, b.steps, b.metric, b.factor)
		if err != nil {
			return nil, err
		}
		plots = append(plots, svg)
	}
	return plots, nil
}

// newPlot has letters as wide as those of the fonts that browsers have, see the page's style.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Title.Padding = title, 2*vg.Millimeter
	p.Legend.Top, p.Legend.Padding, p.Legend.XOffs = true, vg.Millimeter, -2*vg.Millimeter
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.X.Tick.Label, &p.Y.Label.TextStyle, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Y.Min = 0
	return p
}

func barPlot(r *bench.Report, t *bench.Table, title string, steps []bench.Step, metric bench.Metric, factor float64) (template.HTML, error) {
	p := newPlot(title)
	var names []string
	var shown []bench.Step
	for _, step := range steps {
		if slices.ContainsFunc(t.Columns, func(tool string) bool { return r.Summary(t.Workload.Name, tool, step, metric).Max > 0 }) {
			names, shown = append(names, string(step)), append(shown, step)
		}
	}
	if len(shown) == 0 {
		return "", nil
	}
	width := plotWidth * 0.8 / vg.Length(len(shown)*len(t.Columns)+len(shown))
	for i, tool := range t.Columns {
		values := make(plotter.Values, len(shown))
		for j, step := range shown {
			values[j] = r.Summary(t.Workload.Name, tool, step, metric).Median * factor
		}
		bar, err := plotter.NewBarChart(values, width)
		if err != nil {
			return "", err
		}
		bar.Color, bar.LineStyle.Width = colors()[i%len(colors())], 0
		bar.Offset = width * vg.Length(float64(i)-float64(len(t.Columns)-1)/2)
		p.Add(bar)
		p.Legend.Add(tool, bar)
	}
	p.NominalX(names...)
	return svgOf(p)
}

// series is a line of a plot.
type series struct {
	name   string
	points plotter.XYs
}

// lines plots how things grow.
func lines(r *bench.Report) (plots []template.HTML, err error) {
	for _, l := range []struct {
		title, x, y string
		series      []series
	}{
		{"first backup: seconds per million files", "files", "s", byFiles(r, bench.First, func(n float64, m *bench.Measurement) float64 { return m.Seconds / n * 1e6 })},
		{"unchanged: seconds per million files", "files", "s", byFiles(r, bench.Unchanged, func(n float64, m *bench.Measurement) float64 { return m.Seconds / n * 1e6 })},
		{"first backup: peak memory", "files", "MiB", byFiles(r, bench.First, func(n float64, m *bench.Measurement) float64 { return float64(m.Usage.Memory) / mebibyte })},
		{"unchanged: peak memory", "files", "MiB", byFiles(r, bench.Unchanged, func(n float64, m *bench.Measurement) float64 { return float64(m.Usage.Memory) / mebibyte })},
		{"index: time to open", "blobs", "ms", byBlobs(r, func(g *bench.Growth) float64 { return g.OpenSeconds * 1000 })},
		{"index: own memory", "blobs", "MiB", byBlobs(r, func(g *bench.Growth) float64 { return float64(g.Anonymous) / mebibyte })},
		{"index: look-ups found", "blobs", "million/s", byBlobs(r, func(g *bench.Growth) float64 { return g.Hits / 1e6 })},
	} {
		if len(l.series) == 0 {
			continue
		}
		svg, err := linePlot(l.title, l.x, l.y, l.series)
		if err != nil {
			return nil, err
		}
		plots = append(plots, svg)
	}
	return plots, nil
}

func byFiles(r *bench.Report, step bench.Step, value func(files float64, m *bench.Measurement) float64) (list []series) {
	for _, tool := range r.Tools {
		s := series{name: tool.Name}
		for i := range r.Workloads {
			w := &r.Workloads[i]
			n, ok := w.GrowthOfFiles()
			if !ok {
				continue
			}
			sum := r.Summary(w.Name, tool.Name, step, func(m *bench.Measurement) float64 { return value(float64(n), m) })
			if sum.Median > 0 {
				s.points = append(s.points, plotter.XY{X: float64(n), Y: sum.Median})
			}
		}
		if len(s.points) > 1 {
			list = append(list, s)
		}
	}
	return list
}

func byBlobs(r *bench.Report, value func(*bench.Growth) float64) (list []series) {
	for _, as := range []string{bench.IndexInCache, bench.IndexInMap} {
		s := series{name: as}
		for i := range r.Growth {
			if g := &r.Growth[i]; g.As == as {
				s.points = append(s.points, plotter.XY{X: float64(g.Blobs), Y: value(g)})
			}
		}
		if len(s.points) > 1 {
			list = append(list, s)
		}
	}
	return list
}

// linePlot has powers of ten from left to right.
func linePlot(title, x, y string, list []series) (template.HTML, error) {
	p := newPlot(title)
	p.X.Label.Text, p.Y.Label.Text, p.Legend.Left = x, y, true
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, powers{}
	for i, s := range list {
		sort.Slice(s.points, func(a, b int) bool { return s.points[a].X < s.points[b].X })
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return "", err
		}
		line.Color, points.Color, points.Shape = colors()[i%len(colors())], colors()[i%len(colors())], draw.CircleGlyph{}
		p.Add(line, points)
		p.Legend.Add(s.name, line, points)
	}
	p.Y.Min = 0
	p.X.Max *= 2 // room for the last label
	return svgOf(p)
}

// powers marks powers of ten.
type powers struct{}

func (powers) Ticks(least, most float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(least)); e <= math.Floor(math.Log10(most)); e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: v, Label: count(v)})
	}
	return ticks
}

// count is a power of ten for people.
func count(v float64) string {
	label := []byte("1")
	for zeros := int(math.Round(math.Log10(v))); zeros > 0; zeros-- {
		if zeros%3 == 0 {
			label = append(label, ',')
		}
		label = append(label, '0')
	}
	return string(label)
}

// svgOf draws a plot to stand in a page.
func svgOf(p *plot.Plot) (template.HTML, error) {
	c := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	if at := bytes.Index(svg, []byte("<svg")); at > 0 {
		svg = svg[at:] // the XML declaration has no place in a page
	}
	return template.HTML(svg), nil
}
