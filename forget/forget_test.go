package forget_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/forget"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

var now = at("2026-11-22 12:00")

// snapshots makes one for each time, named by its number.
func snapshots(times ...string) (list []forget.Snapshot) {
	for i, text := range times {
		list = append(list, forget.Snapshot{Name: blob.Name{byte(i)}, Time: at(text), Host: "h", Paths: []string{"/p"}})
	}
	return list
}

// kept returns the numbers of those that a policy keeps, ascending.
func kept(p forget.Policy, list []forget.Snapshot) (numbers []int) {
	for _, d := range p.Apply(list, now) {
		if d.Keep {
			numbers = append(numbers, int(d.Name[0]))
		}
	}
	slices.Sort(numbers)
	return numbers
}

func TestPolicies(t *testing.T) {
	list := snapshots(
		"2026-11-22 11:30", "2026-11-22 11:10", "2026-11-22 10:00", // 0 to 2: today
		"2026-11-21 23:59", "2026-11-21 00:00", // 3, 4: yesterday
		"2026-11-16 09:00", "2026-11-15 23:59", // 5, 6: this week's Monday, last week's Sunday
		"2026-10-31 08:00", "2026-01-01 00:00", // 7, 8
		"2025-12-31 23:59", "2020-05-05 05:05") // 9, 10
	span := func(text string) forget.Span {
		s, err := forget.ParseSpan(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		what   string
		policy forget.Policy
		want   []int
	}{
		{"nothing", forget.Policy{}, nil},
		{"last 1", forget.Policy{Last: 1}, []int{0}},
		{"last 3", forget.Policy{Last: 3}, []int{0, 1, 2}},
		{"last more than there are", forget.Policy{Last: 100}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"last all", forget.Policy{Last: forget.All}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"hourly 2", forget.Policy{Hourly: 2}, []int{0, 2}},
		{"hourly 4", forget.Policy{Hourly: 4}, []int{0, 2, 3, 4}},
		{"daily 2", forget.Policy{Daily: 2}, []int{0, 3}},
		{"daily 4", forget.Policy{Daily: 4}, []int{0, 3, 5, 6}},
		{"weekly 2", forget.Policy{Weekly: 2}, []int{0, 6}},
		{"monthly 3", forget.Policy{Monthly: 3}, []int{0, 7, 8}},
		{"yearly 2", forget.Policy{Yearly: 2}, []int{0, 9}},
		{"yearly all", forget.Policy{Yearly: forget.All}, []int{0, 9, 10}},
		{"within an hour and a half", forget.Policy{Within: span("2h")}, []int{0, 1, 2}},
		{"within 6 days", forget.Policy{Within: span("6d")}, []int{0, 1, 2, 3, 4}},
		{"daily within 7 days", forget.Policy{WithinDaily: span("7d")}, []int{0, 3, 5, 6}},
		{"hourly within a day", forget.Policy{WithinHourly: span("1d")}, []int{0, 2, 3}},
		{"weekly within a month", forget.Policy{WithinWeekly: span("1m")}, []int{0, 6, 7}},
		{"monthly within a year", forget.Policy{WithinMonthly: span("1y")}, []int{0, 7, 8, 9}},
		{"yearly within 10 years", forget.Policy{WithinYearly: span("10y")}, []int{0, 9, 10}},
		{"id", forget.Policy{IDs: []string{"0A"}}, []int{10}},
		{"several", forget.Policy{Last: 1, Yearly: 2, IDs: []string{"07"}}, []int{0, 7, 9}},
	} {
		if got := kept(c.policy, list); !slices.Equal(got, c.want) {
			t.Errorf("%s: kept %v, want %v", c.what, got, c.want)
		}
	}
}

func TestTags(t *testing.T) {
	list := snapshots("2026-11-20 00:00", "2026-11-19 00:00", "2026-11-18 00:00")
	list[0].Tags, list[1].Tags = []string{"a"}, []string{"b", "a", "c"}
	for _, c := range []struct {
		tags [][]string
		want []int
	}{{[][]string{{"a"}}, []int{0, 1}}, {[][]string{{"a", "b"}}, []int{1}}, {[][]string{{"x"}, {"c"}}, []int{1}}, {[][]string{{"x"}}, nil}} {
		if got := kept(forget.Policy{Tags: c.tags}, list); !slices.Equal(got, c.want) {
			t.Errorf("tags %v: kept %v, want %v", c.tags, got, c.want)
		}
	}
}

// TestFutureNeverCounts: a snapshot of a wrong clock neither goes nor takes the place of an honest one.
func TestFutureNeverCounts(t *testing.T) {
	honest := snapshots("2026-11-20 00:00", "2026-11-19 00:00", "2026-11-18 00:00")
	wrong := append(slices.Clone(honest), forget.Snapshot{Name: blob.Name{99}, Time: at("2036-01-01 00:00"), Host: "h", Paths: []string{"/p"}})
	for _, p := range []forget.Policy{{Last: 1}, {Daily: 2}, {Yearly: 1}, {Within: forget.Span{Days: 2}}, {WithinDaily: forget.Span{Days: 1}}} {
		want := append(kept(p, honest), 99)
		if got := kept(p, wrong); !slices.Equal(got, want) {
			t.Errorf("%+v: kept %v, want %v", p, got, want)
		}
	}
	for _, d := range (&forget.Policy{Last: 1}).Apply(wrong, now) {
		if d.Name[0] == 99 && !slices.Equal(d.Reasons, []string{"dated in the future"}) {
			t.Errorf("reasons %q", d.Reasons)
		}
	}
}

// TestDoubtful: what is not finished goes when a good one is younger, is kept until then, and never counts.
func TestDoubtful(t *testing.T) {
	list := snapshots("2026-11-20 00:00", "2026-11-19 00:00", "2026-11-18 00:00", "2026-11-17 00:00")
	list[0].Doubtful, list[2].Doubtful = true, true
	if got := kept(forget.Policy{Last: 2}, list); !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("kept %v", got)
	}
	list[1].Host = "other"
	if got := kept(forget.Policy{Last: 2}, list); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("a good one of another host: kept %v", got)
	}
	if removed, of := forget.Removed((&forget.Policy{Last: 1}).Apply(list, now)); removed != 1 || of != 2 {
		t.Errorf("%d of %d are removed", removed, of)
	}
}

// TestZones: days are those of the place where the policy is applied.
func TestZones(t *testing.T) {
	list := snapshots("2026-11-20 01:00", "2026-11-19 23:30")
	p := forget.Policy{Daily: 2}
	if n := len(kept(p, list)); n != 2 {
		t.Errorf("UTC: kept %d", n)
	}
	west := now.In(time.FixedZone("west", -5*3600))
	if d := p.Apply(list, west); d[1].Keep {
		t.Error("both are of one day there")
	}
}

// TestMoreKeepsMore: a policy that asks for more never keeps less, and the order of the list does not matter.
func TestMoreKeepsMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var list []forget.Snapshot
		for i := range 1 + rng.IntN(60) {
			age := time.Duration(rng.ExpFloat64() * float64(90*24*time.Hour))
			list = append(list, forget.Snapshot{Name: blob.Name{byte(i)}, Time: now.Add(-age), Host: "h"})
		}
		p := forget.Policy{Last: rng.IntN(3), Hourly: rng.IntN(4), Daily: rng.IntN(8), Weekly: rng.IntN(5), Monthly: rng.IntN(4), Yearly: rng.IntN(3),
			Within: forget.Span{Days: rng.IntN(20)}}
		few := kept(p, list)
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		if again := kept(p, list); !slices.Equal(few, again) {
			t.Fatalf("in another order: %v, then %v", few, again)
		}
		more := p
		for _, n := range []*int{&more.Last, &more.Hourly, &more.Daily, &more.Weekly, &more.Monthly, &more.Yearly, &more.Within.Days} {
			*n += rng.IntN(2)
		}
		many := kept(more, list)
		for _, n := range few {
			if !slices.Contains(many, n) {
				t.Fatalf("%+v keeps %d, %+v does not", p, n, more)
			}
		}
		// What stays is stable: a second run with the same policy removes nothing of it.
		var rest []forget.Snapshot
		for _, s := range list {
			if slices.Contains(few, int(s.Name[0])) {
				rest = append(rest, s)
			}
		}
		if again := kept(p, rest); !slices.Equal(again, few) {
			t.Fatalf("%+v: a second run keeps %v of %v", p, again, few)
		}
	}
}

func TestGroups(t *testing.T) {
	list := snapshots("2026-11-20 00:00", "2026-11-19 00:00", "2026-11-18 00:00", "2026-11-21 00:00")
	list[1].Host, list[2].Paths = "g", []string{"/a", "/p"}
	list[3].Paths, list[3].Tags = []string{"/p", "/p"}, []string{"x"}
	show := func(groups []forget.Group) (got []string) {
		for _, g := range groups {
			line := g.String() + ":"
			for _, s := range g.Snapshots {
				line += fmt.Sprint(" ", s.Name[0])
			}
			got = append(got, line)
		}
		return got
	}
	for names, want := range map[string][]string{
		"host,paths": {"host g, paths /p: 1", "host h, paths /a, /p: 2", "host h, paths /p: 3 0"},
		"tag":        {": 0 1 2", "tags x: 3"},
		"none":       {": 3 0 1 2"},
	} {
		keys, err := forget.ParseKeys(strings.Split(names, ","))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, show(forget.GroupBy(list, keys))); diff != "" {
			t.Errorf("%s: %s", names, diff)
		}
	}
	if _, err := forget.ParseKeys([]string{"hosts", "colour"}); err == nil {
		t.Error("a group by colour")
	}
}

func TestCap(t *testing.T) {
	for text, allowed := range map[string]int{"": 5, "all": 10, "3": 3, "30%": 3, "0%": 0, "0": 0, "100": 100} {
		var c forget.Cap
		if text != "" {
			var err error
			if c, err = forget.ParseCap(text); err != nil {
				t.Fatal(err)
			}
		}
		if !c.Allows(allowed, 10) || c.Allows(allowed+1, 10) && text != "all" {
			t.Errorf("cap %q does not allow exactly %d of 10", text, allowed)
		}
	}
	for _, text := range []string{"", "-1", "101%", "half", "-3%", "NaN%"} {
		if _, err := forget.ParseCap(text); err == nil {
			t.Errorf("cap %q is taken", text)
		}
	}
}

// FuzzParseSpan: what is read and printed is read as the same, and going back never goes forward.
func FuzzParseSpan(f *testing.F) {
	for _, text := range []string{"30d", "2y5m7d3h", "7", "h", "1d1d", "-1d", "99999999999999999999d", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := forget.ParseSpan(text)
		if err != nil || s.IsZero() {
			return
		}
		again, err := forget.ParseSpan(s.String())
		if err != nil || again != s {
			t.Errorf("%q is printed as %q, which is %+v, %v", text, s, again, err)
		}
	})
}

func ExamplePolicy_Apply() {
	policy := forget.Policy{Last: 1, Daily: 2}
	for _, d := range policy.Apply(snapshots("2026-11-22 11:00", "2026-11-22 09:00", "2026-11-21 20:00", "2026-11-20 20:00"), now) {
		fmt.Printf("%s %v %q\n", d.Time.Format("02 15:04"), d.Keep, d.Reasons)
	}
	// Output:
	// 22 11:00 true ["last" "daily"]
	// 22 09:00 false []
	// 21 20:00 true ["daily"]
	// 20 20:00 false []
}
