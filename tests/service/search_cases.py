"""Texts, what finds them, and what does not: scripts without blanks, and phrases."""
# ruff: noqa: RUF001 (characters that resemble others are what is tested)

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A text, and what finds it and what does not."""

    text: str
    found: tuple[str, ...]
    not_found: tuple[str, ...] = ()


WITHOUT_BLANKS = {
    "japanese sentence": Case(
        "会議は明日の東京駅で行います。", ("東京", "会議", "東京駅で", "駅", "す"), ("京東",)
    ),
    "japanese": Case(
        "昨日はカレーライスを食べながらミーティングをしました。次は山田さんの番です",
        ("カレー", "ライス", "ミーティング", "ながら", "山田さん", "山田さんの番です", "食べ"),
        ("山田さんの番でした", "ライスカレー", "ガレー"),
    ),
    "chinese": Case(
        "我們明天上午十點在臺北車站集合，請大家準時到達。附件是會議記錄（草稿）",
        ("臺北車站", "北車", "集合", "準時到達", "會議記錄", "草稿", "會議記錄(草稿)"),
        ("北臺", "上明", "集合請大", "明天下午"),
    ),
    "repeated": Case("京都東京と東都", ("京都", "東京", "東都", "京都東京と"), ("東京都",)),
    "across a mark": Case("東京、都内", ("東京 都内", "東京、都内"), ("東京都", "東京都内")),
    "thai": Case(
        "ประชุมพรุ่งนี้ที่กรุงเทพมหานครเวลาบ่ายสองโมง",
        ("กรุงเทพ", "ประชุม", "เทพมหานคร", "บ่ายสอง", "ที่", "โมง"),
        ("เทพกรุง", "กรงเทพ", "บายสอง"),
    ),
    "khmer": Case(
        "ខ្ញុំចង់ទៅ\u200bភ្នំពេញ\u200bថ្ងៃស្អែក",
        ("ភ្នំពេញ", "ទៅភ្នំ", "ទៅ\u200bភ្នំពេញ", "ថ្ងៃស្អែក"),
        ("ពេញភ្នំ",),
    ),
    "lao": Case("ຂ້ອຍຢາກໄປວຽງຈັນມື້ອື່ນ", ("ວຽງຈັນ", "ມື້ອື່ນ", "ໄປ"), ("ຈັນວຽງ",)),
    "burmese": Case("မနက်ဖြန်ရန်ကုန်မြို့သို့သွားမည်", ("ရန်ကုန်", "မြို့", "မနက်ဖြန်"), ("ကုန်ရန်",)),
    "tibetan": Case("བོད་ཡིག་གི་དཔེ་ཆ་", ("ཡིག", "དཔེ་ཆ", "བོད་ཡིག"), ("ཡིག་བོད",)),
    "korean": Case(
        "내일 서울대학교에서 회의를 합니다",
        ("서울", "대학교", "학교", "회의", "서울대학교에서 회의를", "합니다"),
        ("회의에서", "회의를 서울"),
    ),
    "korean in letters": Case(
        "\u1112\u1161\u11ab\u1100\u116e\u11a8어", ("한국어", "국어"), ("국한",)
    ),
    "mixed": Case(
        "新しいiPhoneの価格は第3四半期に15000円です",
        ("iPhone", "iphoneの価格", "第3四半期", "15000円", "新しいiP", "価格"),
        ("iPhone価格", "価格のiPhone", "Phone"),
    ),
    "full width": Case(
        "ＡＢＣ株式会社（ｶﾌﾞｼｷ）１２３番",
        ("abc", "株式会社", "カブシキ", "123番", "ABC株式"),
        ("カフシキ",),
    ),
    "half width": Case("カブシキガイシャ", ("ｶﾌﾞｼｷ", "ｶﾞｲｼｬ"), ("ｶｲｼｬ",)),
    "beyond the 16-bit plane": Case("𠮷野家と𩸽の定食", ("𠮷野家", "𩸽の定食"), ("𩸽家",)),
    "line break": Case(
        "ひとつの東\r\n京タワー\r\n\r\n塔へ", ("東京タワー",), ("タワー塔", "ワー塔")
    ),
    "long run": Case(
        "甲" * 900 + "乙丙丁" + "戊" * 900 + "己庚",
        ("乙丙丁", "甲乙丙丁戊", "己庚", "戊己"),
        ("丁乙",),
    ),
    "hindi": Case("कल कुल बैठक है", ("कुल", "बैठक"), ("बठक", "कुल कल")),
}

PHRASES = {
    "order": Case("the quick brown fox", ("quick brown", "brown fox", "quick bro", "the quick"), ("brown quick", "quick fox", "uick brown")),
    "other order": Case("brown fox quick", ("fox quick",), ("quick brown",)),
    "line break": Case("a letter of intent to\r\nbuy the old mill", ("intent to buy the", "to buy"), ("buy to",)),
    "punctuation": Case('He said: "stop, please" - now.', ("stop please", "said stop", '"stop, please"', "please - now"), ("stop now",)),
    "letters": Case("offer 1 of 12 is a b c", ("offer 1", "1 of 12", "a b c", "is a"), ("offer 2", "b a", "a c")),
    "stop words": Case("to be or not to be", ("to be or not", "not to be", "or not to"), ("be to", "to not")),
    "accents": Case("Grüße aus Überlingen, café Noël", ("gruße aus", "aus uberl", "CAFE NOEL"), ("aus grüße",)),
    "apostrophes": Case("don't don’t panic", ("don't panic", "don’t don't"), ("panic don't",)),
    "dotted": Case("see www.example.com or 10.0.0.1:8080", ("www.example.com", "example.com or", "10.0.0.1"), ("example.www", "10.0.1")),
    "address": Case("write to ann.smith@sub.example.com today", ("ann.smith@sub.example.com", "ann.smith@sub", "to ann.smith@sub.example.com today", "sub.example.com today"), ("smith.ann@sub",)),
    "repeats": Case("one one two one one one three", ("one one one three", "one two one"), ("one one one one", "two three")),
    "long": Case(" ".join(f"word{n}" for n in range(3000)), (" ".join(f"word{n}" for n in range(100, 160)),), ("word100 word102",)),
    "wide at sign": Case("mail a＠b now", ("a＠b", "mail a＠b", "now"), ("a＠c",)),
    "soft hyphen": Case("a Donau\u00addampf\u00adschiff sails", ("donaudampfschiff sails",), ("donau sails",)),
}  # fmt: skip
