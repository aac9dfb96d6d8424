package forget

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// All is a count without a bound.
const All = -1

// Policy says which snapshots of a group to keep. The zero Policy keeps those that never count, and nothing else.
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int // how many; All for all
	// All snapshots that are no older than the newest by a span, and the newest of each hour, day and so on in a span.
	Within, WithinHourly, WithinDaily, WithinWeekly, WithinMonthly, WithinYearly Span
	Tags                                                                         [][]string // those that have all tags of any of these lists
	IDs                                                                          []string   // those whose name begins so
}

// IsZero reports whether the policy says nothing.
func (p *Policy) IsZero() bool {
	return p.Last == 0 && p.Hourly == 0 && p.Daily == 0 && p.Weekly == 0 && p.Monthly == 0 && p.Yearly == 0 && p.Within.IsZero() &&
		p.WithinHourly.IsZero() && p.WithinDaily.IsZero() && p.WithinWeekly.IsZero() && p.WithinMonthly.IsZero() && p.WithinYearly.IsZero() &&
		len(p.Tags) == 0 && len(p.IDs) == 0
}

// Decision is what becomes of a snapshot, and why.
type Decision struct {
	Snapshot
	Keep    bool
	Reasons []string // the rules that keep it; none if it goes
}

// rule is one rule at work. period tells the snapshots apart of which only the newest is kept; nil keeps each.
type rule struct {
	name   string
	left   int
	span   Span
	period func(time.Time) string
	last   string
	begun  bool
}

// Apply decides about the snapshots of a group, the newest first. now tells which are dated in the future, and its location is
// where days begin and end.
func (p *Policy) Apply(group []Snapshot, now time.Time) []Decision {
	group = slices.Clone(group)
	slices.SortFunc(group, newestFirst)
	rules := p.rules()
	var newest time.Time // of those that count
	decisions := make([]Decision, 0, len(group))
	for _, s := range group {
		d := Decision{Snapshot: s, Reasons: p.named(s)}
		switch {
		case s.Time.After(now):
			d.Reasons = append(d.Reasons, "dated in the future")
		case s.Doubtful && !superseded(s, group, now):
			d.Reasons = append(d.Reasons, "unfinished, and no good one is younger")
		case !s.Doubtful:
			if newest.IsZero() {
				newest = s.Time
			}
			for i := range rules {
				if rules[i].wants(s.Time.In(now.Location()), newest.In(now.Location())) {
					d.Reasons = append(d.Reasons, rules[i].name)
				}
			}
		}
		d.Keep = len(d.Reasons) > 0
		decisions = append(decisions, d)
	}
	return decisions
}

// superseded reports whether a good snapshot of the same host and paths is younger than one that is not.
func superseded(s Snapshot, group []Snapshot, now time.Time) bool {
	return slices.ContainsFunc(group, func(g Snapshot) bool {
		return !g.Doubtful && !g.Time.After(now) && g.Time.After(s.Time) && g.Host == s.Host && slices.Equal(sorted(g.Paths), sorted(s.Paths))
	})
}

func hourOf(t time.Time) string { return t.Format("2006-01-02 15") }
func dayOf(t time.Time) string  { return t.Format("2006-01-02") }
func weekOf(t time.Time) string {
	year, week := t.ISOWeek()
	return fmt.Sprintf("%d week %d", year, week)
}
func monthOf(t time.Time) string { return t.Format("2006-01") }
func yearOf(t time.Time) string  { return t.Format("2006") }

// rules returns those that are set, as they stand before the first snapshot.
func (p *Policy) rules() (rules []rule) {
	for _, r := range []rule{
		{name: "last", left: p.Last}, {name: "hourly", left: p.Hourly, period: hourOf}, {name: "daily", left: p.Daily, period: dayOf},
		{name: "weekly", left: p.Weekly, period: weekOf}, {name: "monthly", left: p.Monthly, period: monthOf},
		{name: "yearly", left: p.Yearly, period: yearOf},
		{name: "within", span: p.Within}, {name: "hourly within", span: p.WithinHourly, period: hourOf},
		{name: "daily within", span: p.WithinDaily, period: dayOf}, {name: "weekly within", span: p.WithinWeekly, period: weekOf},
		{name: "monthly within", span: p.WithinMonthly, period: monthOf}, {name: "yearly within", span: p.WithinYearly, period: yearOf},
	} {
		if !r.span.IsZero() {
			r.name += " " + r.span.String()
			r.left = All
		}
		if r.left != 0 {
			rules = append(rules, r)
		}
	}
	return rules
}

// wants reports whether the rule keeps the next snapshot, and counts it.
func (r *rule) wants(t, newest time.Time) bool {
	if r.left == 0 || !r.span.IsZero() && !t.After(r.span.Before(newest)) {
		return false
	}
	if r.period != nil {
		period := r.period(t)
		if r.begun && period == r.last {
			return false
		}
		r.begun, r.last = true, period
	}
	if r.left > 0 {
		r.left--
	}
	return true
}

// named returns the reasons that name a snapshot rather than count it.
func (p *Policy) named(s Snapshot) (reasons []string) {
	for _, all := range p.Tags {
		if !slices.ContainsFunc(all, func(tag string) bool { return !slices.Contains(s.Tags, tag) }) {
			reasons = append(reasons, "tag "+strings.Join(all, ","))
		}
	}
	for _, id := range p.IDs {
		if strings.HasPrefix(s.Name.String(), strings.ToLower(id)) {
			reasons = append(reasons, "named")
		}
	}
	return reasons
}

// Removed counts how many good snapshots a group has, and how many of them go.
func Removed(decisions []Decision) (removed, of int) {
	for i := range decisions {
		if d := &decisions[i]; !d.Doubtful {
			of++
			if !d.Keep {
				removed++
			}
		}
	}
	return removed, of
}

// Cap bounds how many snapshots of a group one run may remove: a number or a share. The zero Cap is half.
type Cap struct {
	Number  int     // if Share is 0
	Share   float64 // of the group, more than 0 and at most 1
	Bounded bool    // Number or Share is set
}

// ParseCap reads a number, a share like 50%, or "all".
func ParseCap(text string) (Cap, error) {
	if text == "all" {
		return Cap{Share: 1, Bounded: true}, nil
	}
	if digits, ok := strings.CutSuffix(text, "%"); ok {
		if v, err := strconv.ParseFloat(digits, 64); err == nil && v >= 0 && v <= 100 {
			if v == 0 {
				return Cap{Bounded: true}, nil
			}
			return Cap{Share: v / 100, Bounded: true}, nil
		}
	} else if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return Cap{Number: n, Bounded: true}, nil
	}
	return Cap{}, fmt.Errorf("%q: want a number of snapshots, a share like 50%%, or all", text)
}

// Allows reports whether so many of a group may go.
func (c Cap) Allows(removed, of int) bool {
	switch {
	case !c.Bounded:
		return removed*2 <= of
	case c.Share > 0:
		return float64(removed) <= c.Share*float64(of)
	}
	return removed <= c.Number
}
