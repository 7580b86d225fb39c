package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text says in English when the expression runs: "every day at 05:00 Europe/Paris".
func (e *Expression) Text() string {
	if e.cron == nil {
		return "every " + periodText(e.period)
	}
	c := e.cron
	s := c.daysText()
	if m := monthsText(c); m != "" {
		s += " " + m
	}
	if c.years.len() < MaxYear-MinYear+1 {
		s += " in " + join(numbers(yearField.list(c.years), "%d"))
	}
	return s + " " + c.timesText() + " " + e.zone.String()
}

func periodText(d time.Duration) string {
	n, unit := int64(d/time.Minute), "minute"
	switch {
	case d%(24*time.Hour) == 0:
		n, unit = int64(d/(24*time.Hour)), "day"
	case d%time.Hour == 0:
		n, unit = int64(d/time.Hour), "hour"
	}
	if n == 1 {
		return unit
	}
	return strconv.FormatInt(n, 10) + " " + unit + "s"
}

func (c *cron) daysText() string {
	switch c.days {
	case lastDay:
		return "on the last day of the month"
	case lastWeekday:
		return "on the last weekday (Monday to Friday) of the month"
	case nearestWeekday:
		return fmt.Sprintf("on the weekday (Monday to Friday) nearest to day %d", c.day)
	case lastNamedDay:
		return "on the last " + time.Weekday(c.day).String() + " of the month"
	case nthNamedDay:
		return "on the " + [...]string{"first", "second", "third", "fourth", "fifth"}[c.nth-1] + " " + time.Weekday(c.day).String() + " of the month"
	case byWeekday:
		days := dowField.list(c.dow)
		if len(days) == 7 {
			return "every day"
		}
		names := make([]string, len(days))
		for i, d := range days {
			names[i] = time.Weekday(d - 1).String()
		}
		return "every " + join(names)
	}
	days := domField.list(c.dom)
	if len(days) == 31 {
		return "every day"
	}
	noun := "days "
	if len(days) == 1 {
		noun = "day "
	}
	return "on " + noun + join(numbers(days, "%d"))
}

func monthsText(c *cron) string {
	months := monthField.list(c.months)
	if len(months) == 12 {
		return ""
	}
	names := make([]string, len(months))
	for i, m := range months {
		names[i] = time.Month(m).String()
	}
	return "in " + join(names)
}

func (c *cron) timesText() string {
	hours, minutes := hourField.list(c.hours), minuteField.list(c.minutes)
	if len(hours) == 24 {
		if len(minutes) == 60 {
			return "every minute"
		}
		return "every hour at " + join(numbers(minutes, ":%02d"))
	}
	if len(minutes) == 60 {
		return "every minute of the hours " + join(numbers(hours, "%02d"))
	}
	var times []string
	for _, h := range hours {
		for _, m := range minutes {
			times = append(times, fmt.Sprintf("%02d:%02d", h, m))
		}
	}
	return "at " + join(times)
}

func numbers(values []int, format string) []string {
	s := make([]string, len(values))
	for i, v := range values {
		s[i] = fmt.Sprintf(format, v)
	}
	return s
}

// join makes "a, b and c", shortening long lists.
func join(s []string) string {
	const most = 12
	switch {
	case len(s) == 1:
		return s[0]
	case len(s) > most:
		return strings.Join(s[:most], ", ") + fmt.Sprintf(" and %d more", len(s)-most)
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}
