"""All text is escaped, whoever wrote it."""

from fecnet.run_page.markup import Markup, as_it_is, element, join


def test_text_and_attributes_are_escaped():
    made = element("p", "<script>alert(1)</script> & more", title='"><img onerror=x>')
    assert made == ('<p title="&quot;&gt;&lt;img onerror=x&gt;">&lt;script&gt;alert(1)&lt;/script&gt; &amp; more</p>')


def test_only_markup_is_taken_as_markup():
    assert element("div", element("b", 1), "<b>", None, ["x", (2.5, element("i"))]) == (
        "<div><b>1</b>&lt;b&gt;x2.5<i></i></div>"
    )
    assert element("style", as_it_is("a > b")) == "<style>a > b</style>"
    assert type(join(["<"])) is Markup and join(["<"]) == "&lt;"
    # joined with plain text it is text again
    assert element("p", element("b") + "<") == "<p>&lt;b&gt;&lt;/b&gt;&lt;</p>"


def test_attributes_that_are_words_of_python_or_switches():
    assert element("input", class_="a", aria_label="b", disabled=True, checked=False, id=None, for_="c") == (
        '<input class="a" aria-label="b" disabled for="c">'
    )
