package policy

// Evaluate decides a request.
func Evaluate(r Request) Decision { return Decision{req: &r} }

// Text is AWS's denial text followed by details in parentheses.
func (d Decision) Text() string { return "" }

// Explain renders the decision in several lines.
func (d Decision) Explain() string { return "" }

// Missing is one line saying what is missing.
func (d Decision) Missing() string { return "" }
