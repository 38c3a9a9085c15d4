"""What Rekollect is made of: licences, known vulnerabilities, the bill of materials. The commands behind three make targets."""
