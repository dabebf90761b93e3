package web

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Numbers stand beside their units with a space that does not break.
const space = "\u00a0"

// count writes a whole number with thin spaces between groups of three digits.
func count[T int | int64 | uint64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "−", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString("\u202f")
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// short writes a number of any size in few characters: 0.4, 12, 1.2 k, 34 M.
func short(v float64) string {
	units := []string{"", "k", "M", "G", "T"}
	u := 0
	for math.Abs(v) >= 999.5 && u < len(units)-1 {
		v /= 1000
		u++
	}
	text := digits(v)
	if units[u] != "" {
		text += space + units[u]
	}
	return text
}

// digits writes a number under a thousand with at most one decimal, and none from ten on.
func digits(v float64) string {
	if math.Abs(v) >= 9.95 {
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// percent writes a share of one. What is not quite all or nothing does not look like it.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.001:
		return "<" + space + "0.1" + space + "%"
	case share < 1 && share >= 0.9995:
		return ">" + space + "99.9" + space + "%"
	}
	return strings.TrimSuffix(strconv.FormatFloat(share*100, 'f', 1, 64), ".0") + space + "%"
}

// millis writes a time span in its largest unit.
func millis(ms float64) string {
	for _, unit := range []struct {
		name string
		ms   float64
	}{{"d", 86_400_000}, {"h", 3_600_000}, {"min", 60_000}, {"s", 1000}} {
		if ms >= unit.ms*0.9995 {
			return digits(ms/unit.ms) + space + unit.name
		}
	}
	return digits(ms) + space + "ms"
}

// uptime writes a duration in its two largest units.
func uptime(d time.Duration) string {
	seconds := int64(d / time.Second)
	units := []struct {
		name string
		size int64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}}
	for i, u := range units {
		if seconds < u.size && u.size > 1 {
			continue
		}
		text := strconv.FormatInt(seconds/u.size, 10) + space + u.name
		if i+1 < len(units) {
			next := units[i+1]
			text += " " + strconv.FormatInt(seconds%u.size/next.size, 10) + space + next.name
		}
		return text
	}
	return ""
}

// clock writes a time of Unix milliseconds for people, to the second, in a zone that stands beside
// it.
func clock(ms int64, zone *time.Location) string {
	return time.UnixMilli(ms).In(zone).Format("2006-01-02 15:04:05")
}

// machineTime writes it for the datetime attribute.
func machineTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
